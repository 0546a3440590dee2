"""What a worker reports of the replies of a batch."""

from collections import Counter
from collections.abc import Sequence
from itertools import chain

from handler.detections import Detections
from handler.errors import RequestError
from handler.explanations import Explanations
from handler.metrics import EXPLANATION, Observe
from handler.replies.reply import Reply
from handler.requests.asked import Ask, Asked

Result = Detections | Explanations | RequestError


def count_replies(
    asked: Sequence[Asked],
    results: Sequence[Result],
    pages: Sequence[Reply],
    replies: Sequence[Reply],
    observe: Observe,
) -> None:
    """Report what was found, in which formats it was answered, and what was refused.

    Args:
        asked: The requests of a batch.
        results: What was found in each of their pictures, or why nothing was.
        pages: The reply to each picture.
        replies: The reply to each request; of one picture it is that picture's.
        observe: Takes the metrics.
    """
    observe("maskrcnn_detections_total", sum(len(each) for each in results if isinstance(each, Detections)))
    asks = list(chain.from_iterable(each.asks for each in asked))
    forms = [_form(ask) for ask, page in zip(asks, pages, strict=True) if isinstance(ask, Ask) and page.error is None]
    for form, count in Counter(forms).items():
        observe("maskrcnn_replies_total", count, form)
    if truncated := sum(page.truncated for page in pages):
        observe("maskrcnn_truncated_replies_total", truncated)
    once = {id(reply): reply for reply in (*pages, *replies)}.values()
    for code, count in Counter(reply.error for reply in once if reply.error is not None).items():
        observe("maskrcnn_errors_total", count, code)


def _form(ask: Ask) -> str:
    return EXPLANATION if ask.explain else ask.options.format
