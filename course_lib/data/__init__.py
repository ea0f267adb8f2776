from .pelts import Pelts as Pelts
from .pelts import pelts as pelts
