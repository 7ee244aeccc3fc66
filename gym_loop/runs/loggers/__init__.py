"""Where metrics go: one small class for each destination.

``base.py`` is the contract; CSV and TensorBoard are always there, MLflow is the worked
example of a logger for a tracking service.
"""
