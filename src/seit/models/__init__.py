"""Classifiers: a stem adapter, a timm trunk and a head, from vectors to logits.

    model = build("deit_base_patch16_224", "conv4", 32, (32, 32), 1000, codebook=codebook)
    logits = model(vectors)                  # [B, 32, 28, 28] -> [B, 1000]; model.input_grid is (28, 28)
    logits = model(model.prepare(ids))       # evaluation: ids [B, 32, 32], looked up in model.table, centre crop
    pixels = build("deit_base_patch16_224", "patch16", 3, (256, 256), 1000)     # the pixel twin, 224 of 256
    model.save_pretrained(folder); Classifier.from_pretrained(folder)

    print(transfer(model, pixels))           # stem swap: what was kept, resampled, new and dropped
    load_published("trained-vit.ckpt", codebook)

Training looks ids up in `model.table` inside `seit.augment`'s pipeline and hands the vectors to `model`.
"""

from seit.models.classifier import Classifier, ModelConfig, build, config_from
from seit.models.stems import STEMS, Stem, stem_of
from seit.models.transfer import Transfer, load_published, transfer
from seit.models.trunks import trunk_names

__all__ = [
    "STEMS",
    "Classifier",
    "ModelConfig",
    "Stem",
    "Transfer",
    "build",
    "config_from",
    "load_published",
    "stem_of",
    "transfer",
    "trunk_names",
]
