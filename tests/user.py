"""What a user brings: a trained model in a file of Python, its weights in several forms, a folder of pictures."""

import numpy as np
from PIL import Image
import torch
from torch import nn
import torch.nn.functional as F

SOURCE = '''
import torch
from torch import nn
import torch.nn.functional as F


class Net(nn.Module):
    def __init__(self, classes=3):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, stride=2)
        self.norm = nn.BatchNorm2d(6)
        self.fc = nn.Linear(6, classes)

    def forward(self, x):
        x = F.relu(self.norm(self.conv(x)))
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


def needs(depth, width, other=1):
    return Net()


def number():
    return 3


def fails():
    raise RuntimeError("no such data set")


def parallel():
    return nn.DataParallel(Net())


instance = Net()
value = 3


class Places:
    inner = Net
'''
CLASSES, SIZE = 3, 12


class Net(nn.Module):
    """The same as in :data:`SOURCE`."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, stride=2)
        self.norm = nn.BatchNorm2d(6)
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, x):
        x = F.relu(self.norm(self.conv(x)))
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


def pixels(label, seed, size=(SIZE, SIZE + 2)):
    """A picture uint8 (H, W, 3) of a class: noise with more of one colour."""
    picture = np.random.default_rng([label, seed]).integers(0, 120, (*size, 3))
    picture[..., label] += 60
    return picture.astype(np.uint8)


def photographs(folder, count=12):
    """``count`` pictures of each class in sub-folders, JPEG and PNG."""
    for label in range(CLASSES):
        place = folder / f"class{label}"
        place.mkdir(parents=True, exist_ok=True)
        for index in range(count):
            name = f"{index:03}.{('jpg', 'png')[index % 2]}"
            Image.fromarray(pixels(label, index)).save(place / name)


def write_user(folder, module, count=12):
    """A user's folder: the model in the file ``module``, its weights in ``net.pth``, pictures in ``photos``."""
    photographs(folder / "photos", count)
    (folder / f"{module}.py").write_text(SOURCE)
    torch.save(trained().state_dict(), folder / "net.pth")
    return folder


def trained():
    """A model that tells the classes apart, reading ``(pixel / 255 - 0.5) / 0.25``."""
    torch.manual_seed(0)
    model = Net()
    images = np.stack([pixels(label, 100 + i, (SIZE, SIZE)) for label in range(CLASSES) for i in range(20)])
    x, y = (torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - 0.5) / 0.25, torch.arange(3).repeat_interleave(20)
    optimizer = torch.optim.Adam(model.parameters(), 0.03)
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model.eval()
