"""Train on a token data set in a loop of your own: python examples/own_loop.py TOKENS"""

import sys

import torch
from torch.utils.data import DataLoader

from seit import TokenDataset

train, val = TokenDataset(sys.argv[1], "train"), TokenDataset(sys.argv[1], "val")
codebook = torch.from_numpy(train.codebook)  # [K, d]: what an id means


def lookup(ids):  # [B, h, w] -> [B, d, h, w]
    return codebook[ids.int()].movedim(-1, 1)


layers = [torch.nn.LazyConv2d(64, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
model = torch.nn.Sequential(*layers, torch.nn.Linear(64, len(train.classes)))
optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
for epoch in range(5):
    for ids, labels in DataLoader(train, batch_size=16, shuffle=True):
        loss = torch.nn.functional.cross_entropy(model(lookup(ids)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    right = sum((model(lookup(ids)).argmax(1) == labels).sum() for ids, labels in DataLoader(val, 64))
    print(f"epoch {epoch}: {right} of {len(val)} held-out images right")
