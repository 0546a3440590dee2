"""A reply as supervision's Detections, without glue: ``python examples/to_supervision.py URL PICTURE``.

Needs ``pip install supervision`` (0.31.2 was tried). ``format=coco`` is a list of COCO annotations; whatever reads
those reads the reply. Older versions read polygons only: ``masks="polygon"``, which OpenCV then paints a pixel larger.
"""

import sys
from pathlib import Path

from PIL import Image, ImageOps
from predict import predict
from supervision.dataset.formats.coco import coco_annotations_to_detections

if __name__ == "__main__":
    url, path = sys.argv[1:]
    annotations = predict(url, Path(path).read_bytes(), format="coco", score_threshold="0.5")
    with Image.open(path) as image:
        size = ImageOps.exif_transpose(image).size
    found = coco_annotations_to_detections(annotations, resolution_wh=size, with_masks=True)
    print(found.xyxy, found.class_id, found.mask.sum(axis=(1, 2)))
