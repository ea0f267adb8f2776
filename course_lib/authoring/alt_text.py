"""Figures in the built book: a renderer plugin for myst-nb, for what a page needs and myst-nb leaves out.

The alt text that a notebook stores is dropped by myst-nb; a height, which keeps the page from shifting when the picture
arrives, is not known to it; and PNG, which notebooks hold, weighs two and a half times what WebP does without loss.
"""

from __future__ import annotations

import hashlib
from binascii import a2b_base64
from io import BytesIO

from docutils import nodes
from PIL import Image


class AltText:
    """Renders PNG outputs as myst-nb does, then adds what is missing; the alt text stands in the output's metadata.

    Registered under the entry point ``myst_nb.mime_renderers``; returning None leaves an output to myst-nb.
    """

    @staticmethod
    def handle_mime(renderer, data, inline: bool) -> list[nodes.Element] | None:
        alt = (data.output_metadata or {}).get("image/png", {}).get("alt")
        if data.mime_type != "image/png" or not alt:
            return None
        rendered = renderer.render_image_inline(data) if inline else renderer.render_image(data)
        picture = Image.open(BytesIO(a2b_base64(data.content)))
        packed = webp(picture)
        uri = renderer.write_file([f"{hashlib.sha256(packed).hexdigest()}.webp"], packed, exists_ok=True)
        for node in rendered:
            for image in node.findall(nodes.image):
                image["alt"], image["uri"] = alt, uri
                if (width := str(image.get("width", ""))).isdecimal():
                    image["height"] = str(round(int(width) * picture.height / picture.width))
        return rendered


def webp(picture: Image.Image) -> bytes:
    """The same picture, pixel for pixel, as WebP."""
    packed = BytesIO()
    picture.save(packed, "WEBP", lossless=True, exact=True)
    return packed.getvalue()
