"""The last words of an export."""

from pathlib import Path

from export.verification.verify import Proof


def closing(name: str, path: Path, proof: Proof) -> str:
    """What was made and proved, and how to serve it.

    Args:
        name: Of the model.
        path: Of the ``.mar``.
        proof: Of the export.
    """
    worst, ran = proof.largest_differences, ", ".join(proof.also_ran)
    dtypes = f"{ran} weights ran too; on" if ran else "on"
    return f"""\
made    {path}, {path.stat().st_size / 1e6:.0f} MB
proved  {len(proof.cases)} calls in a fresh process gave the model's own {proof.detections} detections;
        largest differences: boxes {worst.boxes:.1g} px, scores {worst.scores:.1g}, masks {worst.masks:.1g};
        {dtypes} {" and ".join(proof.devices)}{_of_framework(proof)}
serve   torchserve --start --ncs --model-store {path.parent} --models {name}={path.name} \\
            --ts-config config.properties"""


def _of_framework(proof: Proof) -> str:
    if (source := proof.source_framework) is None:
        return ""
    worst = source.largest_differences
    return f"""
agrees  with {source.framework} {source.version} on {source.detections} detections in {len(source.pictures)} pictures;
        largest differences: boxes {worst["boxes"]:.1g} px, scores {worst["scores"]:.1g}, masks {worst["masks"]:.1%};
        {source.apart} apart, {source.at_threshold} on a threshold, {source.moved_masks} masks a pixel off"""
