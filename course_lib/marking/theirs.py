"""Stand-ins for what the other process keeps: its functions and objects, and modules of its own classes."""

from __future__ import annotations

from torch import nn

DUNDERS = ("__len__", "__getitem__", "__iter__", "__next__", "__name__", "__enter__", "__exit__")


class Theirs:
    """An object of the other process: calls and attributes are asked for there."""

    def __init__(self, peer, number: int) -> None:
        object.__setattr__(self, "_theirs", (peer, number))

    def __call__(self, *args, **kwargs):
        peer, _ = self._theirs
        return peer.call(self, args, kwargs)

    def __getattr__(self, name: str):
        if name.startswith("_") and name not in DUNDERS:
            raise AttributeError(f"{name} is not handed over.")
        peer, _ = self._theirs
        return peer.ask({"op": "attribute", "of": self, "name": name})

    def __setattr__(self, name: str, value: object) -> None:
        peer, _ = self._theirs
        peer.ask({"op": "set", "of": self, "name": name, "value": value})

    def __len__(self) -> int:
        return self.__getattr__("__len__")()

    def __getitem__(self, key):
        return self.__getattr__("__getitem__")(key)

    def __iter__(self):
        return self.__getattr__("__iter__")()

    def __next__(self):
        return self.__getattr__("__next__")()


class TheirModule(nn.Module):
    """A module whose class only the other process has: parameters here, kept equal, and the forward pass there."""

    def __init__(self, peer, number: int, parameters: dict[str, nn.Parameter]) -> None:
        super().__init__()
        for path, value in parameters.items():
            *folders, name = path.split(".")
            place = self
            for folder in folders:
                if folder not in place._modules:
                    place.add_module(folder, nn.Module())
                place = place._modules[folder]
            place.register_parameter(name, value)
        object.__setattr__(self, "_theirs", (peer, number))  # last: until then every attribute is this module's own

    def forward(self, *args, **kwargs):
        peer, _ = self._theirs
        return peer.call(self, args, kwargs)

    def __getattr__(self, name: str):
        try:
            return super().__getattr__(name)
        except AttributeError:
            if "_theirs" not in vars(self) or (name.startswith("_") and name not in DUNDERS):
                raise
            peer, _ = self._theirs
            return peer.ask({"op": "attribute", "of": self, "name": name})
