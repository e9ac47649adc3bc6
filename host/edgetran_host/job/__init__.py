"""The main job: from task data, a seed and budgets to a model that answers on a board."""
