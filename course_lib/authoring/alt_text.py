"""Alt text in the built book: a renderer plugin for myst-nb, which by itself drops the one a notebook stores."""

from __future__ import annotations

from docutils import nodes


class AltText:
    """Renders PNG outputs as myst-nb does, then adds the alt text found in the output's metadata.

    Registered under the entry point ``myst_nb.mime_renderers``; returning None leaves an output to myst-nb.
    """

    @staticmethod
    def handle_mime(renderer, data, inline: bool) -> list[nodes.Element] | None:
        alt = (data.output_metadata or {}).get("image/png", {}).get("alt")
        if data.mime_type != "image/png" or not alt:
            return None
        rendered = renderer.render_image_inline(data) if inline else renderer.render_image(data)
        for node in rendered:
            for image in node.findall(nodes.image):
                image["alt"] = alt
        return rendered
