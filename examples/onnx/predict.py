"""Predict images with a file of `hemai export RUN --out FILE.onnx`; needs onnxruntime, numpy and opencv alone.

    python predict.py FILE.onnx IMAGE...

Research use only, not a medical device.
"""

import json
import sys

import cv2
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1])
about = session.get_modelmeta().custom_metadata_map
classes, prepare = json.loads(about["classes"]), json.loads(about["prepare"])
(resize,) = prepare if len(prepare) == 1 else [{"__class_fullname__": "a longer list"}]
if resize["__class_fullname__"] != "Resize":
    sys.exit(f"the network was trained on images prepared by {resize['__class_fullname__']}; use hemai predict")
for path in sys.argv[2:]:
    if (stored := cv2.imread(path, cv2.IMREAD_UNCHANGED)) is None:
        sys.exit(f"{path} is not an image")
    if stored.dtype != np.uint8 or stored.shape[2:] == (4,):
        sys.exit(f"{path} has transparency or more than 8 bits; use hemai predict")
    image = cv2.cvtColor(cv2.imread(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    image = cv2.resize(image, (resize["width"], resize["height"]), interpolation=resize["interpolation"])
    _, probabilities = session.run(["logits", "probabilities"], {"images": image[np.newaxis]})  # (1, height, width, 3)
    print(path, *(f"{label}={value:.6f}" for label, value in zip(classes, probabilities[0], strict=True)))
