"""A convolutional network for small pictures, named by a run file."""

import torch
from torch import nn


class SmallCNN(nn.Module):
    """Two convolutions and a hidden layer; one head an output."""

    def __init__(self, input_shape, outputs):
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(input_shape[0], 8, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
        )
        with torch.no_grad():
            features = self.trunk(torch.zeros(1, *input_shape)).shape[1]
        self.hidden = nn.Sequential(nn.Linear(features, 64), nn.ReLU())
        self.heads = nn.ModuleList(nn.Linear(64, size) for size in outputs)

    def forward(self, pictures):  # [B, channels, height, width]
        hidden = self.hidden(self.trunk(pictures.float() / 255))
        return tuple(head(hidden) for head in self.heads)
