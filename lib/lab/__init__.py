"""The lab: what a reader of the report can try, in JupyterLab. Each widget is a function from data
to a static view and a thin layer of controls over it; `notebooks/lab.ipynb` shows them."""
