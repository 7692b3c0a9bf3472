#!/usr/bin/env python3
"""Writes torchvision's models at full size with random weights, an input and what they give for it:

    python3 scripts/export_models.py FOLDER
    DROPFORGE_MODELS=FOLDER cargo test -p dropforge --test library full_size_models -- --ignored --nocapture
"""

import sys
from pathlib import Path

import numpy as np
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

vision = torchvision.models


def small_images(model):
    """The start for images such as CIFAR's."""
    model.conv1, model.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
    return model


MODELS = {
    "alexnet": (vision.alexnet, 224),
    "vgg11": (vision.vgg11, 64),
    "vgg16_bn": (vision.vgg16_bn, 64),
    "resnet18_cifar": (lambda: small_images(vision.resnet18(num_classes=10)), 32),
    "resnet34": (vision.resnet34, 224),
    "resnet50": (vision.resnet50, 224),
    "resnet50_cifar": (lambda: small_images(vision.resnet50(num_classes=10)), 32),
    "mobilenet_v2": (vision.mobilenet_v2, 224),
    "efficientnet_b0": (vision.efficientnet_b0, 224),
    "densenet121": (vision.densenet121, 224),
    "vit_small": (lambda: vision.VisionTransformer(32, 4, 12, 6, 384, 1536, num_classes=10), 32),
}

folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
for name, (make, size) in MODELS.items():
    torch.manual_seed(0)
    model = make()
    # Statistics as after training, so that evaluation does not see what it would not.
    with torch.no_grad():
        for key, value in model.named_buffers():
            if key.endswith("running_mean"):
                value.normal_(0, 0.1)
            elif key.endswith("running_var"):
                value.uniform_(0.5, 1.5)
        if name == "vit_small":
            model.heads.head.weight.normal_(0, 0.05)
        x = torch.randn(2, 3, size, size)
        y = model.eval()(x)
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, folder / f"{name}.safetensors")
    np.save(folder / f"{name}.x.npy", x.numpy())
    np.save(folder / f"{name}.y.npy", y.numpy())
    print(f"{name}: largest output {y.abs().max():.3g}")
