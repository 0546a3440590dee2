"""Every figure that the README states, measured. To run, with ``python -m benchmarks.NAME``:

``ops``, ``model`` and ``served`` time the ops, the network and the server; ``kernels`` lists where a GPU's time goes;
``gpu_check`` builds, tests and measures all of it on a GPU machine, and calls ``every_kernel`` and
``serve_from_wheels``. The other files are what these are made of.
"""
