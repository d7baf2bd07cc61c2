"""Names that make timm read files or query the hub, instead of just building a network."""

SOURCES = ("hf-hub:", "local-dir:")  # begin the names of models on the hub and in a folder, as in timm
SOURCE_KEYS = ("model.backbone", "model.weights")  # settings that take such a name
READ_BY_TIMM = ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir")  # arguments
