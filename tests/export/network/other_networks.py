"""Names of weights of networks that are not exported: for each, what it must be called and some of its keys.

The keys are those that tell where it comes from and those it shares with others, as the modules of each project are
called: Detectron2 (``modeling/``, ``projects/``), AdelaiDet, d2go, maskrcnn-benchmark, FCOS, torchvision
(``models/detection``), MMDetection, Ultralytics, facebookresearch/detr, segment-anything and sam2, YOLACT, Mask2Former.
"""

# Each text holds keys, apart by white space.
_BOTTOM_UP = """
    backbone.bottom_up.stem.conv1.weight backbone.bottom_up.res2.0.conv1.weight backbone.fpn_lateral3.weight
    backbone.fpn_output3.weight
    """
_DETECTRON2 = (
    _BOTTOM_UP
    + " proposal_generator.rpn_head.conv.weight roi_heads.box_head.fc1.weight roi_heads.box_predictor.cls_score.weight"
)
_MASKS = " roi_heads.mask_head.mask_fcn1.weight roi_heads.mask_head.predictor.weight"
_BENCHMARK = "backbone.body.stem.conv1.weight backbone.fpn.fpn_inner2.weight rpn.anchor_generator.cell_anchors.0"
_TORCHVISION = "backbone.body.conv1.weight backbone.body.layer1.0.conv1.weight backbone.fpn.inner_blocks.0.0.weight"
_MMDETECTION = """
    backbone.conv1.weight backbone.bn1.weight backbone.layer1.0.conv1.weight neck.lateral_convs.0.conv.weight
    neck.fpn_convs.0.conv.weight
    """

_KEYPOINTS, _RETINANET, _FCOS = "a keypoint model", "a RetinaNet", "an FCOS"
_SEGMENTATION, _POINTREND = "a panoptic or semantic segmentation model", "a PointRend model"
_FBNET, _MM = "an FBNet model", "an MMDetection checkpoint"
_TRANSFORMER_BODY, _DETR = r"a ViTDet, MViT or Swin \(a transformer body\)", "a transformer detector"

# Name of a network -> what it must be called, its keys.
OTHER_NETWORKS: dict[str, tuple[str, str]] = {
    "Detectron2 RetinaNet": (
        _RETINANET,
        _BOTTOM_UP
        + """
        backbone.top_block.p6.weight head.cls_subnet.0.weight head.bbox_subnet.0.weight head.cls_score.weight
        head.bbox_pred.weight anchor_generator.cell_anchors.0
        """,
    ),
    "Detectron2 FCOS": (
        _FCOS,
        _BOTTOM_UP + " head.cls_subnet.0.weight head.bbox_subnet.0.weight head.ctrness.weight",
    ),
    "AdelaiDet FCOS": (
        _FCOS,
        _BOTTOM_UP
        + """
        proposal_generator.fcos_head.cls_tower.0.weight proposal_generator.fcos_head.ctrness.weight
        proposal_generator.fcos_head.scales.0.scale
        """,
    ),
    "Detectron2 keypoint R-CNN": (
        _KEYPOINTS,
        _DETECTRON2 + " roi_heads.keypoint_head.conv_fcn1.weight roi_heads.keypoint_head.score_lowres.weight",
    ),
    "Detectron2 panoptic FPN": (
        _SEGMENTATION,
        _DETECTRON2 + _MASKS + " sem_seg_head.p2.0.weight sem_seg_head.p2.0.norm.weight sem_seg_head.predictor.weight",
    ),
    "PointRend": (
        _POINTREND,
        _DETECTRON2
        + """
        roi_heads.mask_head.coarse_head.fcs.0.weight roi_heads.mask_head.point_head.fc1.weight
        roi_heads.mask_head.point_head.predictor.weight
        """,
    ),
    "PointRend before 2021": (
        _POINTREND,
        _DETECTRON2 + " roi_heads.mask_coarse_head.coarse_mask_fc1.weight roi_heads.mask_point_head.fc1.weight",
    ),
    "PointRend, semantic": (
        _POINTREND,
        _BOTTOM_UP + " sem_seg_head.coarse_sem_seg_head.p2.0.weight sem_seg_head.point_head.fc1.weight",
    ),
    "DensePose": (
        "an R-CNN with heads of its own",
        _DETECTRON2 + " roi_heads.densepose_head.body_conv_fcn1.weight roi_heads.decoder.p2.0.weight",
    ),
    "ViTDet": (
        _TRANSFORMER_BODY,
        _MASKS
        + """
        backbone.net.pos_embed backbone.net.patch_embed.proj.weight backbone.net.blocks.0.norm1.weight
        backbone.simfp_2.0.weight proposal_generator.rpn_head.conv.conv0.weight roi_heads.box_head.conv1.norm.weight
        """,
    ),
    "MViTv2": (
        _TRANSFORMER_BODY,
        _MASKS
        + """
        backbone.bottom_up.patch_embed.proj.weight backbone.bottom_up.blocks.0.attn.qkv.weight
        backbone.bottom_up.scale2_norm.weight backbone.fpn_lateral2.weight proposal_generator.rpn_head.conv.conv0.weight
        """,
    ),
    "Swin": (
        _TRANSFORMER_BODY,
        _MASKS + " backbone.bottom_up.layers.0.blocks.0.attn.qkv.weight backbone.fpn_lateral2.weight",
    ),
    "Detectron2 RegNet": (
        "a RegNet model",
        """
        backbone.bottom_up.stem.conv.weight backbone.bottom_up.stem.bn.weight backbone.bottom_up.s1.b1.f.a.weight
        backbone.bottom_up.s1.b1.f.a_bn.weight backbone.fpn_lateral2.weight
        proposal_generator.rpn_head.conv.conv0.weight roi_heads.box_head.conv1.weight
        """,
    ),
    "maskrcnn-benchmark FBNet": (
        _FBNET,
        """
        backbone.body.first.conv.weight backbone.body.stages.xif0_0.pw.conv.weight rpn.head.0.head.xif3_0.pw.conv.weight
        rpn.head.1.cls_logits.weight roi_heads.box.feature_extractor.head.blocks.xif4_0.pw.conv.weight
        roi_heads.box.feature_extractor.head.last.conv.weight roi_heads.box.predictor.cls_score.weight
        """,
    ),
    "d2go FBNet, C4": (
        _FBNET,
        """
        backbone.body.trunk0.fbnetv2_0_0.conv.weight
        proposal_generator.rpn_head.rpn_feature.0.fbnetv2_0_0.pw.conv.weight
        proposal_generator.rpn_head.rpn_regressor.cls_logits.weight
        roi_heads.box_head.roi_box_conv.0.fbnetv2_0_0.pw.conv.weight roi_heads.box_predictor.cls_score.weight
        """,
    ),
    "d2go FBNet, FPN": (
        _FBNET,
        _MASKS + " backbone.bottom_up.trunk0.fbnetv2_0_0.conv.weight backbone.fpn_lateral2.weight",
    ),
    "maskrcnn-benchmark RetinaNet": (
        _RETINANET,
        _BENCHMARK + " rpn.head.cls_tower.0.weight rpn.head.bbox_tower.0.weight rpn.head.cls_logits.weight",
    ),
    "FCOS": (
        _FCOS,
        _BENCHMARK + " rpn.head.cls_tower.0.weight rpn.head.centerness.weight rpn.head.scales.0.scale",
    ),
    "maskrcnn-benchmark keypoints": (
        _KEYPOINTS,
        _BENCHMARK
        + """
        roi_heads.box.predictor.cls_score.weight roi_heads.keypoint.feature_extractor.conv_fcn1.weight
        roi_heads.keypoint.predictor.kps_score_lowres.weight
        """,
    ),
    "Mask Scoring R-CNN": (
        "an R-CNN with heads of its own",
        _BENCHMARK + " roi_heads.box.predictor.cls_score.weight roi_heads.maskiou.predictor.maskiou.weight",
    ),
    "Detectron keypoints": (
        _KEYPOINTS,
        "conv1_w res2_0_branch2a_w conv_rpn_fpn2_w conv_fcn1_w kps_deconv_w kps_score_lowres_w",
    ),
    "Detectron RetinaNet": (
        _RETINANET,
        "conv1_w res2_0_branch2a_w fpn_inner_res5_2_sum_w retnet_cls_conv_n0_fpn3_w retnet_cls_pred_fpn3_w",
    ),
    "torchvision RetinaNet": (
        _RETINANET,
        _TORCHVISION
        + """
        backbone.fpn.extra_blocks.p6.weight head.classification_head.conv.0.0.weight
        head.classification_head.cls_logits.weight head.regression_head.bbox_reg.weight
        """,
    ),
    "torchvision FCOS": (
        _FCOS,
        _TORCHVISION
        + """
        backbone.fpn.extra_blocks.p6.weight head.classification_head.conv.0.weight
        head.classification_head.cls_logits.weight head.regression_head.bbox_reg.weight
        head.regression_head.bbox_ctrness.weight
        """,
    ),
    "torchvision SSD": (
        "an SSD",
        """
        backbone.scale_weight backbone.features.0.weight backbone.extra.0.0.weight
        head.classification_head.module_list.0.weight head.regression_head.module_list.0.weight
        """,
    ),
    "torchvision keypoint R-CNN": (
        _KEYPOINTS,
        _TORCHVISION
        + """
        rpn.head.conv.0.0.weight roi_heads.box_head.fc6.weight roi_heads.keypoint_head.0.weight
        roi_heads.keypoint_predictor.kps_score_lowres.weight
        """,
    ),
    "torchvision DeepLab": (
        _SEGMENTATION,
        "backbone.conv1.weight backbone.layer1.0.conv1.weight classifier.0.convs.0.0.weight aux_classifier.0.weight",
    ),
    "torchvision ResNet": (
        "a classifier's body",
        "conv1.weight bn1.weight layer1.0.conv1.weight layer1.0.downsample.0.weight fc.weight",
    ),
    "torchvision MobileNet": (
        "a classifier",
        "features.0.0.weight features.1.block.0.0.weight classifier.0.weight",
    ),
    "DETR": (
        _DETR,
        """
        transformer.encoder.layers.0.self_attn.in_proj_weight transformer.decoder.layers.0.multihead_attn.in_proj_weight
        class_embed.weight bbox_embed.layers.0.weight query_embed.weight input_proj.weight backbone.0.body.conv1.weight
        """,
    ),
    "DETR of transformers": (
        _DETR,
        """
        model.backbone.conv_encoder.model.conv1.weight model.query_position_embeddings.weight
        model.encoder.layers.0.self_attn.k_proj.weight class_labels_classifier.weight
        """,
    ),
    "Mask2Former": (
        "a Mask2Former or MaskFormer",
        """
        backbone.stem.conv1.weight backbone.res2.0.conv1.weight sem_seg_head.pixel_decoder.input_proj.0.0.weight
        sem_seg_head.pixel_decoder.transformer.encoder.layers.0.norm1.weight sem_seg_head.predictor.query_feat.weight
        sem_seg_head.predictor.class_embed.weight criterion.empty_weight
        """,
    ),
    "MMDetection Mask R-CNN": (
        _MM,
        _MMDETECTION
        + " rpn_head.rpn_conv.weight roi_head.bbox_head.fc_cls.weight roi_head.mask_head.convs.0.conv.weight",
    ),
    "MMDetection Mask R-CNN, C4": (
        _MM,
        """
        backbone.conv1.weight backbone.layer1.0.conv1.weight rpn_head.rpn_conv.weight
        roi_head.shared_head.layer4.0.conv1.weight roi_head.bbox_head.fc_cls.weight
        """,
    ),
    "MMDetection before 2.0": (
        _MM,
        _MMDETECTION + " rpn_head.rpn_conv.weight bbox_head.fc_cls.weight mask_head.convs.0.conv.weight",
    ),
    "YOLOv5": (
        "a YOLO",
        "model.0.conv.weight model.2.cv1.conv.weight model.2.m.0.cv1.conv.weight model.24.m.0.weight",
    ),
    "YOLOv8, segmentation": (
        "a YOLO",
        "model.model.0.conv.weight model.model.22.cv2.0.0.conv.weight model.model.22.proto.cv1.conv.weight",
    ),
    "SAM": (
        "a Segment Anything model",
        """
        image_encoder.pos_embed image_encoder.blocks.0.norm1.weight image_encoder.neck.0.weight
        prompt_encoder.not_a_point_embed.weight mask_decoder.transformer.layers.0.self_attn.q_proj.weight
        mask_decoder.output_hypernetworks_mlps.0.layers.0.weight
        """,
    ),
    "SAM 2": (
        "a Segment Anything model",
        "maskmem_tpos_enc image_encoder.trunk.pos_embed sam_mask_decoder.iou_token.weight",
    ),
    "YOLACT": (
        "a YOLACT",
        """
        backbone.layers.0.0.conv1.weight backbone.conv1.weight proto_net.0.weight fpn.lat_layers.0.weight
        fpn.pred_layers.0.weight prediction_layers.0.bbox_layer.weight semantic_seg_conv.weight
        """,
    ),
}
