"""Writes the schemas of KServe's kinds from the models of KServe's own Python package, as far as manifests of ours go.

pip download --no-deps kserve==0.21.0 && python -m tests.deploy.schemas.from_kserve kserve-0.21.0-py3-none-any.whl
"""

import ast
import json
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

KINDS = {"servingruntime": "V1alpha1ServingRuntime", "inferenceservice": "V1beta1InferenceService"}
# What becomes strict. Of the others (transformers, one predictor a framework, multi-node), only that they are objects.
STRICT = {
    *KINDS.values(),
    *("V1alpha1ServingRuntimeSpec", "V1alpha1SupportedModelFormat"),
    *("V1beta1InferenceServiceSpec", "V1beta1PredictorSpec", "V1beta1ModelSpec", "V1beta1ModelFormat"),
}
PLAIN = {"str": "string", "bool": "boolean", "int": "integer", "float": "number", "object": "object"}
OF_KUBERNETES = "Kubernetes: "


def models(wheel: zipfile.ZipFile) -> dict[str, str]:
    """The source of each model class."""
    sources = [wheel.read(name).decode() for name in wheel.namelist() if re.match(r"kserve/models/\w+\.py$", name)]
    return {found[1]: source for source in sources if (found := re.search(r"(?m)^class (\w+)\(", source))}


def table(source: str, name: str) -> dict[str, str]:
    """A dict that a model class has as an attribute."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name:
            return dict(ast.literal_eval(node.value))
    raise ValueError(f"no {name} in the model")


def type_of(name: str, known: dict[str, str]) -> dict[str, Any]:
    """The schema of a type as the models spell it."""
    if inner := re.fullmatch(r"list\[(.*)\]", name):
        return {"type": "array", "items": type_of(inner[1], known)}
    if inner := re.fullmatch(r"dict\(str, (.*)\)", name):
        return {"type": "object", "additionalProperties": type_of(inner[1], known)}
    if name in STRICT:
        return {"$ref": f"#/$defs/{name}"}
    if name in known:
        return {"type": "object"}
    return {"type": PLAIN[name]} if name in PLAIN else {"$comment": f"{OF_KUBERNETES}{name}"}


def model_schema(source: str, known: dict[str, str]) -> dict[str, Any]:
    """The schema of one model: no other names, and what it cannot do without."""
    types, names = table(source, "openapi_types"), table(source, "attribute_map")
    required = re.findall(r"Invalid value for `(\w+)`, must not be `None`", source)
    return {
        "type": "object",
        "properties": {names[each]: type_of(types[each], known) for each in sorted(types)},
        "required": sorted({names[each] for each in required}),
        "additionalProperties": False,
    }


def main() -> None:
    """Write both."""
    wheel = Path(sys.argv[1])
    with zipfile.ZipFile(wheel) as opened:
        known = models(opened)
    definitions = {name: model_schema(known[name], known) for name in sorted(STRICT)}
    for file, kind in KINDS.items():
        schema = {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$comment": f"{kind} as the models of {'-'.join(wheel.name.split('-')[:2])} have it (Apache-2.0)",
            "$ref": f"#/$defs/{kind}",
            "$defs": definitions,
        }
        Path(__file__).with_name(f"{file}.json").write_text(json.dumps(schema, indent=1) + "\n")


if __name__ == "__main__":
    main()
