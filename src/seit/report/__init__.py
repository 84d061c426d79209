"""The one module that every HTML page, figure and contact sheet of seit goes through.

- `page.Page`: a self-contained HTML report built from blocks (headline figures, tables, pictures, drawings).
- `figures`: `curves`, `frontier`, `bars`, `confusion`: drawings for the page (SVG) and the docs (PNG).
- `sheets.write_sheet`: a contact sheet of pictures as one PNG file.
- `pictures.Tile`: the picture, caption and mark that pages and sheets share.
- `demo.demo_page`: the demo's report as a function of plain data.

It knows numbers, names and pictures, nothing of stores or runs, and imports neither torch nor any folder
above it. The parts are imported by name, since matplotlib is slow to load and a page may do without it.
"""
