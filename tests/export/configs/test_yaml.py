"""Reading a framework's YAML file: its bases, its literals, and what is not run."""

from pathlib import Path
from time import process_time

import pytest

from export.configs.yaml_file import read_yaml
from export.errors import ExportError


def written(folder: Path, **texts: str) -> Path:
    """Write files, the dots of whose names are double underscores; the path of the last."""
    for name, text in texts.items():
        path = folder / f"{name}.yaml"
        path.write_text(text)
    return path


def test_keys_are_dotted_and_literals_read(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        mine="""
MODEL:
  MASK_ON: True
  RPN:
    SIZES: "(32, 64)"   # both frameworks evaluate strings
    STEPS: (1000, )
    EPS: 1e-5           # a string to YAML 1.1
    LIST: [[32], [64]]
    NAME: "RPN"
    NONE: "None"
    CODE: "__import__('os').getcwd()"
    TUPLE: !!python/tuple [1, 2]
TEST: {AUG: {ENABLED: False}}
DATASETS: {}
""",
    )
    assert read_yaml(path) == {
        "MODEL.MASK_ON": True,
        "MODEL.RPN.SIZES": (32, 64),
        "MODEL.RPN.STEPS": (1000,),
        "MODEL.RPN.EPS": 1e-5,
        "MODEL.RPN.LIST": [[32], [64]],
        "MODEL.RPN.NAME": "RPN",
        "MODEL.RPN.NONE": None,
        "MODEL.RPN.CODE": "__import__('os').getcwd()",
        "MODEL.RPN.TUPLE": (1, 2),
        "TEST.AUG.ENABLED": False,
        "DATASETS": {},
    }


def test_aliases_merges_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    path = written(tmp_path, mine="\ufeffA: &a {X: &x [1, 2], Y: *x}\nB: {<<: *a, Y: 3}")  # Detectron2 dumps aliases
    assert read_yaml(path) == {"A.X": [1, 2], "A.Y": [1, 2], "B.X": [1, 2], "B.Y": 3}


def test_a_file_overrides_its_bases(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    written(tmp_path, root="A: {X: 1, Y: 1, Z: 1}", middle="_BASE_: root.yaml\nA: {Y: 2, Z: 2}")
    path = written(tmp_path / "deep", mine='_BASE_: "../middle.yaml"\nA: {Z: 3}')
    assert read_yaml(path) == {"A.X": 1, "A.Y": 2, "A.Z": 3}
    assert read_yaml(written(tmp_path, two="_BASE_: [root.yaml, middle.yaml]")) == {"A.X": 1, "A.Y": 2, "A.Z": 2}


def test_a_file_beside_comes_before_a_built_in_base(tmp_path: Path) -> None:
    path = written(tmp_path, mine="_BASE_: base.yaml\nB: 2")
    assert read_yaml(path, {"base.yaml": {"A": 1, "B": 1}}.get) == {"A": 1, "B": 2}
    written(tmp_path, base="A: 9")
    assert read_yaml(path, {"base.yaml": {"A": 1, "B": 1}}.get) == {"A": 9, "B": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A: !!python/object/apply:os.system ['true']", r"!!python/object/apply:os.system would run code"),
        ("A: !!python/object/new:yacs.config.CfgNode {}", r"!!python/object/new:yacs.config.CfgNode would run code"),
        ("A: !!python/name:os.system", r"!!python/name:os.system would run code"),
        ("A: !mine 3", "could not determine a constructor for the tag '!mine'"),
        ("A: [", "cannot be read: while parsing"),
        ("- 1", "must be a mapping of keys such as MODEL, found list"),
        ("", "must be a mapping of keys such as MODEL, found NoneType"),
        ("A: {X: 1}\nA: {Y: 2}", r"the key 'A' stands twice in one section\n.*line 2"),
        ("A:\n  X: 1\n  X: 1", "the key 'X' stands twice"),
        ("A: {<<: {X: 1}, <<: {Y: 1}}", "the key '<<' stands twice"),
        ("1: 2", "the key '1' is not text such as MODEL"),
        ("A: {ON: 2}", "the key 'ON' is not text"),
        ("~: 2", "the key '~' is not text"),
        ("[A, B]: 2", "the key of the type seq is not text"),
        ("!!str [A]: 2", "the key of the type str is not text"),
        ("A.X: 2", "the key 'A.X' has a dot"),
        ("A: !!int ''", "cannot be read"),
        ("A: !!bool maybe", "cannot be read"),
        ("A: !!timestamp tomorrow", "cannot be read"),
        (f"A: {'1:' * 5000}1.5", "more than 10000 characters"),
        (f"A: {'1:' * 4000}1.5", "cannot be read"),  # beyond the largest float
        ("_BASE_: mine.yaml", "is its own _BASE_"),
        ("_BASE_: nowhere.yaml", "builds on 'nowhere.yaml', which is neither at .* nor one of the framework's own"),
    ],
)
def test_refuses(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=message):
        read_yaml(written(tmp_path, mine=text))


def test_a_loop_of_bases_ends(tmp_path: Path) -> None:
    path = written(tmp_path, one="_BASE_: two.yaml", two="_BASE_: one.yaml")
    with pytest.raises(ExportError, match="is its own _BASE_"):
        read_yaml(path)


def laughs(opening: str, closing: str) -> str:
    """Each line is nine of the line before: 9 ** 12 values in 500 bytes."""
    lines = [f"L0: &l0 {opening}a: 1{closing}" if opening == "{" else "L0: &l0 [1]"]
    for level in range(1, 13):
        inner = [f"k{item}: *l{level - 1}" if opening == "{" else f"*l{level - 1}" for item in range(9)]
        lines.append(f"L{level}: &l{level} {opening}{', '.join(inner)}{closing}")
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text", [laughs("{", "}"), laughs("[", "]"), "A: &a [*a]", "A: &a {B: *a}"], ids=["keys", "lists", "list", "keys 2"]
)
def test_aliases_cannot_fill_the_memory(text: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="more than 10000 values"):
        read_yaml(written(tmp_path, mine=text))


def merges(opening: str) -> str:
    """Each line merges the line before nine times; PyYAML itself would copy 9 ** 12 keys."""
    lines = ["L0: &l0 {a: 1}"]
    lines += [f"L{n}: &l{n} {opening % ', '.join([f'*l{n - 1}'] * 9)}" for n in range(1, 13)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text",
    [merges("{<<: [%s]}"), "A: &a {<<: *a}", "A: [" + "1," * 400_000 + "1]", "A: &a 1\nB: [" + "*a, " * 50_000 + "1]"],
    ids=["merges", "a merge of itself", "list", "aliases"],
)
def test_what_is_too_large_is_refused_before_it_is_built(text: str, tmp_path: Path) -> None:
    path, start = written(tmp_path, mine=text), process_time()
    with pytest.raises(ExportError, match="more than 10000 values"):
        read_yaml(path)
    assert process_time() - start < 5  # unchecked: a minute, or for ever


def test_a_number_of_the_base_60_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path, start = written(tmp_path, mine="A: " + "1:" * 200_000 + "1"), process_time()
    with pytest.raises(ExportError, match=r"more than 10000 characters\n.*line 1"):
        read_yaml(path)
    assert process_time() - start < 5


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"A: " + b"[" * 100_000, b"#" * (2 << 20)])
def test_what_is_no_text_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(ExportError, match=r"config .*mine.yaml"):
        read_yaml(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"config .*mine.yaml cannot be read"):
        read_yaml(tmp_path / "mine.yaml")
