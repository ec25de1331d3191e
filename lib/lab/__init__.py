"""The lab: what a reader of the report can try in JupyterLab, see `notebooks/lab.ipynb`. Each part
has a `view`, a pure function of data and settings, and a `widget`, the view with controls."""
