"""The class names of the data sets that the frameworks know."""

from fnmatch import fnmatchcase
from typing import Any

from export.class_names import class_list

# Patterns of DATASETS.TEST, the first that fits. Not here: maskrcnn-benchmark's Cityscapes as COCO annotations
# (*_cocostyle), whose order the conversion on each user's disk decides.
_LISTS = (
    ("lvis_v0.5_*_cocofied", "coco"),
    ("lvis_v0.5_*", "lvis-v0.5"),
    ("lvis_v1_*", "lvis-v1"),
    ("coco_2014_*", "coco"),
    ("coco_2017_*", "coco"),
    ("voc_20*", "voc"),
    ("cityscapes_fine_instance_seg_*", "cityscapes"),
    ("cityscapes_poly_instance_*", "cityscapes-10"),
    ("cityscapes_mask_instance_*", "cityscapes-10"),
)


def data_set_names(data_sets: Any, classes: int) -> tuple[str, ...] | None:
    """Class names without a background, or None where the data set is the user's own.

    Args:
        data_sets: ``DATASETS.TEST`` of a configuration: names, or one.
        classes: How many the configuration has; a list of another length is not this network's.
    """
    for data_set in data_sets if isinstance(data_sets, list | tuple) else [data_sets]:
        for pattern, name in _LISTS:
            if fnmatchcase(str(data_set), pattern):
                names = class_list(name)
                return names if len(names) == classes else None
    return None
