"""Times the whole network on one device, from pictures that lie there to run lengths on the host.

Run ``python -m benchmarks.model --device cuda --out FOLDER``: R50-FPN with 91 classes and made-up weights on pictures
of 800 x 1333, so a canvas of 800 x 1344. First every dtype, fusion and way to launch at batch 8; then the fastest one
at every batch, with few and with many detections; its stages next to their floors; pictures of 40 sizes through the
handler; and torchvision's own model. ``--tiny`` does all of it with a small network, for a CPU.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.floors import ceilings, demand_of
from benchmarks.handler_rates import rates
from benchmarks.machine import as_line, describe
from benchmarks.made_up import R50, TINY, Network, keeping, network, photo
from benchmarks.passes import DevicePass
from benchmarks.stages import Stage, stages
from benchmarks.timing import Work, finish, median_ms
from benchmarks.torchvision_peer import peer_variants
from benchmarks.variants import Call, Graphed, Variant, loaded, prepared_alone, variants
from handler.failures import first_line

Row = dict[str, Any]
PARTS = ("variants", "batches", "stages", "handler", "peer")


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        device: Where.
        networks: By the detections that a picture keeps on average.
        size: (height, width) of the pictures.
        batch: The batch that variants and stages are compared at.
        batches: All batches.
        runs: Timed runs of each row.
    """

    device: torch.device
    networks: dict[int, Network]
    size: tuple[int, int]
    batch: int
    batches: tuple[int, ...]
    runs: int

    def pictures(self, batch: int) -> list[Tensor]:
        """On the device."""
        return [photo(*self.size, seed).to(self.device) for seed in range(batch)]

    @property
    def few(self) -> Network:
        """The network that keeps least."""
        return self.networks[min(self.networks)]


def plan(device: torch.device, tiny: bool, runs: int) -> Plan:
    """The pictures keep their size: they are as the network wants them."""
    given = network(TINY, 96, 160) if tiny else network(R50, 800, 1333)
    size, batch, batches = ((96, 128), 2, (1, 2)) if tiny else ((800, 1333), 8, (1, 2, 4, 8, 16))
    probe = Plan(device, {0: given}, size, batch, batches, runs)
    variant = Variant("float32", "none", False)
    tried = DevicePass(loaded(given, variant, device), given, probe.pictures(batch), variant)
    sizes = torch.tensor([size] * batch, device=device)
    # 98, because no more than 100 can be kept: nearly every picture then keeps that many.
    return replace(probe, networks={wanted: keeping(given, tried.canvas(), sizes, wanted) for wanted in (20, 98)})


def timed_pass(plan: Plan, model: torch.jit.ScriptModule, given: Network, batch: int, variant: Variant) -> Row:
    """One row: a batch of pictures through one variant."""
    if plan.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(plan.device)
    work = DevicePass(model, given, plan.pictures(batch), variant)
    whole = median_ms(work, plan.runs, plan.device, host=True)
    half = median_ms(work.first_half, plan.runs, plan.device, host=True)
    row = {"variant": str(variant), "batch": batch, "canvas": work.canvas_size, "kept": work.kept / batch}
    return row | {"ms": whole, "first_half_ms": half, "per_second": 1e3 * batch / whole} | _peak_memory(plan.device)


def _peak_memory(device: torch.device) -> Row:
    if device.type != "cuda":
        return {}
    peaks = torch.cuda.max_memory_allocated(device), torch.cuda.max_memory_reserved(device)
    return dict(zip(("allocated_mb", "reserved_mb"), (peak / 1e6 for peak in peaks), strict=True))


def variant_rows(plan: Plan) -> Iterator[tuple[Variant, Row]]:
    """Every variant at one batch; one that does not run says why."""
    for variant in variants(plan.device):
        try:
            yield variant, timed_pass(plan, loaded(plan.few, variant, plan.device), plan.few, plan.batch, variant)
        except RuntimeError as error:
            yield variant, {"variant": str(variant), "error": first_line(error)}


def batch_rows(plan: Plan, variant: Variant) -> Iterator[Row]:
    """One variant at every batch, for each number of detections."""
    for given in plan.networks.values():
        model = loaded(given, variant, plan.device)
        for batch in plan.batches:
            yield timed_pass(plan, model, given, batch, variant)


def stage_rows(plan: Plan, variant: Variant) -> Iterator[Row]:
    """One variant by stage, each alone and launched as a graph where it can be, next to its floor."""
    given = plan.few
    model = given.model().to(plan.device, variant.torch_dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    work = DevicePass(
        loaded(given, variant, plan.device), given, plan.pictures(plan.batch), replace(variant, graph=False)
    )
    sizes = torch.tensor([plan.size] * plan.batch, device=plan.device)
    limits = ceilings(plan.device, variant.torch_dtype)
    for stage in stages(model, work.canvas(), sizes, kept=min(plan.networks)):
        demand = demand_of(stage.work, *stage.inputs)
        launched, call = stage_call(stage, variant, plan.device)
        took = median_ms(call, plan.runs, plan.device)
        floor = demand.floor_ms(limits)
        row = {"stage": stage.name, "launched": launched, "ms": took, "floor_ms": floor}
        yield row | asdict(demand) | asdict(limits)


def stage_call(stage: Stage, variant: Variant, device: torch.device) -> tuple[str, Work]:
    """A stage as it is timed: prepared like the whole trace if it is made of layers, and as a graph where possible."""
    call: Call = stage.work
    if isinstance(stage.work, nn.Module):
        call = prepared_alone(stage.work, stage.inputs, variant.fusion)
    if device.type == "cuda" and stage.name != "encode":  # its output's size is the host's to know
        graphed = Graphed(call, stage.inputs)
        return "graph", graphed.replay
    return "eager", lambda: call(*stage.inputs)


def peer_rows(plan: Plan) -> Iterator[Row]:
    """torchvision at batch 1 and at the batch of the comparison, for each number of detections."""
    for wanted, given in plan.networks.items():
        for batch in (1, plan.batch):
            for name, work in peer_variants(given, plan.pictures(batch)):
                row: Row = {"variant": name, "batch": batch, "wanted": wanted}
                try:
                    took = median_ms(work, max(3, plan.runs // 4), plan.device, host=True)
                    yield row | {"ms": took, "per_second": 1e3 * batch / took}
                except RuntimeError as error:
                    yield row | {"error": first_line(error)}


def table(rows: Sequence[Row]) -> str:
    """Markdown, with a column for all that any row has."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    lines += [f"| {' | '.join(_cell(row.get(column)) for column in columns)} |" for row in rows]
    return "\n".join(lines)


def _cell(value: object) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def fastest(found: Sequence[tuple[Variant, Row]]) -> Variant:
    """The variant with the most pictures a second.

    Raises:
        RuntimeError: None ran.
    """
    ran = [(row["per_second"], index) for index, (_, row) in enumerate(found) if "per_second" in row]
    if not ran:
        raise RuntimeError(f"no variant ran: {[row for _, row in found]}")
    return found[max(ran)[1]][0]


def measure(plan: Plan, parts: Sequence[str], tiny: bool) -> Iterator[tuple[str, list[Row]]]:
    """Part after part."""
    best = variants(plan.device)[-1]
    if "variants" in parts:
        found = list(variant_rows(plan))
        best = fastest(found)
        yield f"every variant at batch {plan.batch}", [row for _, row in found]
    if "batches" in parts:
        yield "the fastest at every batch", list(batch_rows(plan, best))
    if "stages" in parts:
        yield f"its stages at batch {plan.batch}", list(stage_rows(plan, best))
    if "handler" in parts:
        yield "the handler, pictures on the host to answers", list(rates(plan.few, best, plan.device, plan.size, tiny))
    if "peer" in parts:
        yield "torchvision on the same device, up to soft masks", list(peer_rows(plan))


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.model", description=__doc__)
    parser.add_argument("--device", type=torch.device, default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--out", type=Path, help="folder for model.json")
    parser.add_argument("--runs", type=int, default=20, help="timed runs of each row (default: 20)")
    parser.add_argument("--tiny", action="store_true", help="a small network and small pictures")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas between them")
    parser.add_argument("--no-search", action="store_true", help="take cuDNN's first choice of algorithm")
    return parser.parse_args(arguments)


def main(given: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(given)
    torch.backends.cudnn.benchmark = not arguments.no_search
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False  # float32 means float32
    about = describe(arguments.device) | {"search": torch.backends.cudnn.benchmark}
    print(as_line(about), flush=True)
    results: dict[str, Any] = {"machine": about}
    with torch.inference_mode():
        begin = time.perf_counter()
        for title, rows in measure(
            plan(arguments.device, arguments.tiny, arguments.runs), arguments.only.split(","), arguments.tiny
        ):
            finish(arguments.device)
            print(f"\n{title} ({time.perf_counter() - begin:.0f} s)\n\n{table(rows)}", flush=True)
            results[title] = rows
            if arguments.out:  # after each part: what is there stays, whatever stops the rest
                (arguments.out / "model.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
