"""Measure the AP of a served model: ``python examples/evaluate_coco.py URL FOLDER ANNOTATIONS.json``.

The pictures of FOLDER are sent one after the other; ``format=coco`` answers with results as they are, so what is left
to do is to put the lists together. The inference key, where one is wanted, is taken from TOKEN.
"""

import sys
from pathlib import Path

from predict import predict
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

if __name__ == "__main__":
    url, folder, annotations = sys.argv[1:]
    truth = COCO(annotations)
    results = []
    for image in truth.loadImgs(truth.getImgIds()):
        body = Path(folder, image["file_name"]).read_bytes()
        results += predict(url, body, format="coco", image_id=str(image["id"]))
    for kind in ("bbox", "segm"):
        # With a bbox in the results, pycocotools sorts objects into small, medium and large by their boxes: for masks
        # it is taken out, as is usual. loadRes also adds keys to what it is given, hence the copies.
        wanted = [{key: value for key, value in each.items() if kind == "bbox" or key != "bbox"} for each in results]
        evaluation = COCOeval(truth, truth.loadRes(wanted), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
