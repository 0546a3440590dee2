"""The answer that each case must get, computed in a process of its own by the archive that is served."""

import tempfile
import zipfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from tests.served import MODEL
from tests.soak.cases import Case

VERSION = "1.0"


@dataclass(frozen=True)
class Expected:
    """One answer, ``ID`` in it where the request's id belongs.

    Attributes:
        status: Of HTTP.
        code: Of the error; none: it is an answer.
        body: Its bytes.
    """

    status: int
    code: str
    body: bytes


def expected_of(archive: Path, cases: Sequence[Case]) -> list[Expected | None]:
    """Answers, in the order of the cases; None for those that no worker sees.

    Args:
        archive: The ``.mar``.
        cases: What will be sent.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:  # its model is gone with it
        return pool.submit(_answers, archive, list(cases)).result()


def _answers(archive: Path, cases: list[Case]) -> list[Expected | None]:
    import yaml

    from handler.worker import Worker

    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(archive) as file:
            file.extractall(folder)
        config = yaml.safe_load((Path(folder) / "model-config.yaml").read_text())
        worker = Worker.load(Path(folder), config, MODEL, VERSION)
        return [_answer(worker, case) for case in cases]


def _answer(worker: "object", case: Case) -> Expected | None:
    from handler.requests.incoming import Incoming

    if case.fields is None:
        return None
    incoming = Incoming.of(case.fields, case.headers)
    (reply,) = worker.answer([incoming], lambda *_: None)  # type: ignore[attr-defined]
    return Expected(reply.status.value, reply.error or "", reply.body)
