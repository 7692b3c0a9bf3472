"""Models: the shapes of their states and what they give, with weights that follow from their names.

torchvision's models with fewer channels, and those it lacks written down here with the names of their authors' code.
"""

import math

import numpy as np
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from .write import FOLDER, lines_of


def numbers(name, count):
    """Numbers from 0 up to 1 that follow from a name, as crates/dropforge/tests/library/models.rs has them."""
    seed = 0x811C9DC5
    for byte in name.encode():
        seed = (seed ^ byte) * 0x01000193 & 0xFFFFFFFF
    h = np.arange(count, dtype=np.uint64) * 2654435761 & 0xFFFFFFFF ^ seed
    for _ in range(2):
        h = (h ^ h >> 16) * 0x45D9F3B & 0xFFFFFFFF
    return ((h ^ h >> 16) >> 8).astype(np.float64) / (1 << 24)


def filled(name, shape):
    """The elements of a state."""
    u = numbers(name, math.prod(shape))
    if name.endswith("running_var") or (len(shape) == 1 and name.endswith("weight")):
        u = u + 0.5
    elif len(shape) == 1:
        u = (u - 0.5) * 0.2
    else:
        u = (u - 0.5) * math.sqrt(12 / math.prod(shape[1:]))
    return torch.from_numpy(u.astype(np.float32)).reshape(shape)


def model_case(name, model, x):
    lines = []
    with torch.no_grad():
        for key, value in model.state_dict().items():
            if value.dim() > 0:
                value.copy_(filled(key, list(value.shape)))
                lines += lines_of(f"shape.{key}", torch.tensor(value.shape, dtype=torch.int32))
        model.eval()
        lines += lines_of("x", torch.tensor(x.shape, dtype=torch.int32)) + lines_of("y", model(x))
    path = FOLDER / "models" / f"{name}.txt"
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def image(*shape):
    return torch.from_numpy((numbers("x", math.prod(shape)) * 2 - 1).astype(np.float32)).reshape(shape)


def tokens(count, *shape):
    return torch.from_numpy((numbers("x", math.prod(shape)) * count).astype(np.int64)).reshape(shape)


vision = torchvision.models


def resnet(block, blocks, width, classes, small):
    """torchvision's with another width, and with the start for small images."""
    model = vision.ResNet(block, blocks, num_classes=classes)
    if width != 64:
        model.inplanes = width
        model.conv1, model.bn1 = nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width)
        for stage in range(4):
            stride = 2 if stage else 1
            setattr(model, f"layer{stage + 1}", model._make_layer(block, width << stage, blocks[stage], stride))
        model.fc = nn.Linear((width << 3) * block.expansion, classes)
    if small:
        model.conv1, model.maxpool = nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.Identity()
    return model


def vgg(stages, width, hidden, classes, norms):
    layers = []
    for count, times in stages:
        layers += [times * width] * count + ["M"]
    model = vision.VGG(nn.Identity(), num_classes=classes, init_weights=False)
    channels, features = 3, []
    for layer in layers:
        if layer == "M":
            features.append(nn.MaxPool2d(2, 2))
        else:
            features.append(nn.Conv2d(channels, layer, 3, padding=1))
            features += [nn.BatchNorm2d(layer)] if norms else []
            features.append(nn.ReLU())
            channels = layer
    model.features = nn.Sequential(*features)
    model.classifier[0] = nn.Linear(channels * 49, hidden)
    model.classifier[3], model.classifier[6] = nn.Linear(hidden, hidden), nn.Linear(hidden, classes)
    return model


def alexnet(width, hidden, classes):
    model = vision.AlexNet(num_classes=classes)
    channels = 3
    for layer, times in [(0, 1), (3, 3), (6, 6), (8, 4), (10, 4)]:
        old = model.features[layer]
        model.features[layer] = nn.Conv2d(channels, times * width, old.kernel_size, old.stride, old.padding)
        channels = times * width
    model.classifier[1] = nn.Linear(channels * 36, hidden)
    model.classifier[4], model.classifier[6] = nn.Linear(hidden, hidden), nn.Linear(hidden, classes)
    return model


def efficientnet(width, classes):
    from torchvision.models.efficientnet import _efficientnet_conf

    settings, last = _efficientnet_conf("efficientnet_b0", width_mult=width, depth_mult=1.0)
    return vision.EfficientNet(settings, dropout=0.2, last_channel=last, num_classes=classes)


class Double(nn.Module):
    def __init__(self, inputs, middle, channels):
        super().__init__()
        part = lambda a, b: [nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU()]
        self.double_conv = nn.Sequential(*part(inputs, middle), *part(middle, channels))

    def forward(self, x):
        return self.double_conv(x)


class UNet(nn.Module):
    """Ronneberger et al., arXiv:1505.04597, with padding and batch norms."""

    def __init__(self, width, outputs, bilinear):
        super().__init__()
        share = 2 if bilinear else 1
        sizes = [width << level for level in range(4)] + [(width << 4) // share]
        self.inc = Double(3, width, width)
        for level in range(4):
            down = nn.Module()
            down.maxpool_conv = nn.Sequential(nn.MaxPool2d(2), Double(sizes[level], sizes[level + 1], sizes[level + 1]))
            setattr(self, f"down{level + 1}", down)
        below = sizes[4]
        for level in range(4):
            up, channels = nn.Module(), sizes[3 - level]
            if bilinear:
                up.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
                last = channels // 2 if level < 3 else channels
                up.conv = Double(channels + below, channels, last)
                below = last
            else:
                up.up, up.conv = nn.ConvTranspose2d(below, channels, 2, 2), Double(2 * channels, channels, channels)
                below = channels
            setattr(self, f"up{level + 1}", up)
        self.outc = nn.Module()
        self.outc.conv = nn.Conv2d(width, outputs, 1)

    def forward(self, x):
        levels = [self.inc(x)]
        for level in range(4):
            levels.append(getattr(self, f"down{level + 1}").maxpool_conv(levels[-1]))
        y = levels[4]
        for level in range(4):
            up, beside = getattr(self, f"up{level + 1}"), levels[3 - level]
            y = up.up(y)
            rows, columns = beside.shape[2] - y.shape[2], beside.shape[3] - y.shape[3]
            y = F.pad(y, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
            y = up.conv(torch.cat([beside, y], 1))
        return self.outc.conv(y)


def named(**parts):
    """Modules with names, to be called from outside."""
    module = nn.Module()
    for name, part in parts.items():
        module.add_module(name, part)
    return module


class Bert(nn.Module):
    """Devlin et al., arXiv:1810.04805, with the names of Hugging Face's weights."""

    def __init__(self, vocabulary, context, width, heads, layers, hidden, classes=None):
        super().__init__()
        norm = lambda: nn.LayerNorm(width, eps=1e-12)
        self.heads, self.classes = heads, classes
        embeddings = named(
            word_embeddings=nn.Embedding(vocabulary, width),
            position_embeddings=nn.Embedding(context, width),
            token_type_embeddings=nn.Embedding(2, width),
            LayerNorm=norm(),
        )
        layer = lambda: named(
            attention=named(
                **{"self": named(**{part: nn.Linear(width, width) for part in ["query", "key", "value"]})},
                output=named(dense=nn.Linear(width, width), LayerNorm=norm()),
            ),
            intermediate=named(dense=nn.Linear(width, hidden)),
            output=named(dense=nn.Linear(hidden, width), LayerNorm=norm()),
        )
        self.bert = named(embeddings=embeddings, encoder=named(layer=nn.ModuleList(layer() for _ in range(layers))))
        if classes:
            self.bert.pooler = named(dense=nn.Linear(width, width))
            self.classifier = nn.Linear(width, classes)
        else:
            self.cls = named(predictions=named(transform=named(dense=nn.Linear(width, width), LayerNorm=norm())))
            self.cls.predictions.bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, x):
        e = self.bert.embeddings
        y = e.word_embeddings(x) + e.position_embeddings.weight[: x.shape[1]] + e.token_type_embeddings.weight[0]
        y = e.LayerNorm(y)
        for layer in self.bert.encoder.layer:
            own = layer.attention.self
            q, k, v = (part(y).unflatten(2, (self.heads, -1)).transpose(1, 2) for part in [own.query, own.key, own.value])
            seen = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
            y = layer.attention.output.LayerNorm(layer.attention.output.dense(seen) + y)
            made = layer.output.dense(F.gelu(layer.intermediate.dense(y)))
            y = layer.output.LayerNorm(made + y)
        if self.classes:
            return self.classifier(torch.tanh(self.bert.pooler.dense(y[:, 0])))
        head = self.cls.predictions
        y = head.transform.LayerNorm(F.gelu(head.transform.dense(y)))
        return (y @ e.word_embeddings.weight.T + head.bias).transpose(1, 2)


class Dlrm(nn.Module):
    """Naumov et al., arXiv:1906.00091."""

    def __init__(self, inputs, tables, width, bottom, top, outputs):
        super().__init__()
        stack = lambda sizes: [part for a, b in zip(sizes, sizes[1:]) for part in (nn.Linear(a, b), nn.ReLU())]
        self.bot_l = nn.Sequential(*stack([inputs, *bottom, width]))
        self.emb_l = nn.ModuleList(nn.Embedding(count, width) for count in tables)
        pairs = len(tables) * (len(tables) + 1) // 2
        self.top_l = nn.Sequential(*stack([width + pairs, *top, outputs])[:-1])

    def forward(self, x):
        count = len(self.emb_l)
        own = self.bot_l(x[:, :-count])
        vectors = [own] + [table(x[:, number - count].long()) for number, table in enumerate(self.emb_l)]
        vectors = torch.stack(vectors, 1)
        products = vectors @ vectors.transpose(1, 2)
        rows, columns = torch.tril_indices(count + 1, count + 1, -1)
        return self.top_l(torch.cat([own, products[:, rows, columns]], 1))


class Coder(nn.Module):
    """The auto-encoders, without noise."""

    def __init__(self, width, latent, is_vae):
        super().__init__()
        half = lambda a, b: nn.Conv2d(a, b, 3, stride=2, padding=1)
        convolutions = nn.Sequential(half(1, width), nn.ReLU(), half(width, 2 * width), nn.ReLU())
        wide = 2 * width * 12
        heads = {"mean": nn.Linear(wide, latent), "log_variance": nn.Linear(wide, latent)}
        heads = heads if is_vae else {"numbers": nn.Linear(wide, latent)}
        self.encoder = named(convolutions=convolutions, **heads)
        twice = lambda a, b: nn.ConvTranspose2d(a, b, 4, stride=2, padding=1)
        parts = [nn.Linear(latent, wide), nn.ReLU(), twice(2 * width, width), nn.ReLU(), twice(width, 1)]
        self.decoder, self.width, self.numbers = nn.Sequential(*parts), width, "mean" if is_vae else "numbers"

    def forward(self, x):
        y = self.encoder.convolutions(x).flatten(1)
        y = self.encoder.get_submodule(self.numbers)(y)
        y = F.relu(self.decoder[0](y)).unflatten(1, (2 * self.width, 3, 4))
        y = self.decoder[4](F.relu(self.decoder[2](y)))
        return y[:, :, : x.shape[2], : x.shape[3]]


class Characters(nn.Module):
    """A table, an LSTM and a head."""

    def __init__(self, count, width, layers):
        super().__init__()
        self.embedding = nn.Embedding(count, width)
        self.lstm = nn.LSTM(width, width, layers, batch_first=True)
        self.head = nn.Linear(width, count)

    def forward(self, x):
        # Dropforge has the scores along axis 1, as a loss of classes takes them.
        return self.head(self.lstm(self.embedding(x))[0]).transpose(1, 2)


def small_models():
    def conv(inputs, outputs, size=3, padding=1):
        return nn.Conv2d(inputs, outputs, size, padding=padding)

    lenet = nn.Sequential(
        conv(1, 6, 5, 2), nn.ReLU(), nn.MaxPool2d(2), conv(6, 16, 5, 0), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(16 * 9, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 3),
    )
    catsdogs = nn.Sequential(
        conv(3, 16), nn.ReLU(), conv(16, 32), nn.ReLU(), conv(32, 64), nn.ReLU(), nn.Flatten(),
        nn.Linear(64 * 20, 128), nn.ReLU(), nn.Linear(128, 3),
    )
    mlp = nn.Sequential(nn.Flatten(), nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3))
    tiny = nn.Sequential()
    tiny.add_module("c", conv(3, 8))
    tiny.add_module("relu", nn.ReLU())
    tiny.add_module("pool", nn.AdaptiveAvgPool2d(1))
    tiny.add_module("flatten", nn.Flatten())
    tiny.add_module("f", nn.Linear(8, 3))
    return {
        "lenet": (lenet, image(2, 1, 20, 21)),
        "catsdogs": (catsdogs, image(2, 3, 4, 5)),
        "mlp": (mlp, image(3, 1, 4, 5)),
        "tinycnn": (tiny, image(2, 3, 6, 5)),
        "lstm-char": (Characters(11, 6, 2), tokens(11, 2, 5)),
    }


def model_cases():
    Basic, Bottleneck = vision.resnet.BasicBlock, vision.resnet.Bottleneck
    model_case("resnet18", resnet(Basic, [2, 2, 2, 2], 4, 3, False), image(2, 3, 40, 33))
    model_case("resnet34", resnet(Basic, [3, 4, 6, 3], 4, 3, True), image(2, 3, 16, 17))
    model_case("resnet50", resnet(Bottleneck, [3, 4, 6, 3], 4, 3, False), image(2, 3, 40, 33))
    stages = [(1, 1), (1, 2), (2, 4), (2, 8), (2, 8)]
    model_case("vgg11", vgg(stages, 2, 5, 3, False), image(2, 3, 32, 65))
    stages = [(2, 1), (2, 2), (3, 4), (3, 8), (3, 8)]
    model_case("vgg16", vgg(stages, 2, 5, 3, True), image(2, 3, 32, 40))
    model_case("alexnet", alexnet(2, 5, 3), image(2, 3, 70, 90))
    model_case("mobilenet_v2", vision.MobileNetV2(num_classes=3, width_mult=0.2), image(2, 3, 32, 40))
    model_case("efficientnet_b0", efficientnet(0.2, 3), image(2, 3, 32, 40))
    model_case("densenet121", vision.DenseNet(4, (2, 3, 2, 2), 8, num_classes=3), image(2, 3, 64, 40))
    model_case("vit_small", vision.VisionTransformer(8, 4, 2, 2, 12, 16, num_classes=3), image(2, 3, 8, 8))
    model_case("unet", UNet(2, 3, False), image(2, 3, 17, 23))
    model_case("unet_bilinear", UNet(4, 3, True), image(2, 3, 16, 20))
    model_case("bert_tiny", Bert(11, 8, 6, 2, 2, 10), tokens(11, 2, 5))
    model_case("bert_tiny_classify", Bert(11, 8, 6, 2, 2, 10, classes=3), tokens(11, 2, 5))
    rows = torch.cat([image(4, 3), tokens(5, 4, 2).float()], 1)
    model_case("dlrm", Dlrm(3, [5, 7], 4, [6], [8], 2), rows)
    model_case("autoencoder", Coder(2, 3, False), image(2, 1, 11, 13))
    model_case("vae", Coder(2, 3, True), image(2, 1, 11, 13))
    for name, (model, x) in small_models().items():
        model_case(name, model, x)
