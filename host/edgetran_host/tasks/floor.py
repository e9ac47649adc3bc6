"""What a model without a transformer reaches: a bag of words and a linear model.

A transformer that does not clear this floor is not worth its milliwatts.
"""

from __future__ import annotations

import numpy as np

from edgetran_host.tasks.scoring import Scores, score
from edgetran_host.tasks.task import REGRESSION, Row, Task

NGRAMS = (1, 2)
STRENGTH = 4.0  # inverse regularisation of the logistic regression
MAX_ITERATIONS = 400


def floor_score(task: Task) -> Scores:
    """TF-IDF of words and word pairs, then logistic or ridge regression; scored on dev."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression, Ridge

    # Unlike the default pattern, keeps one-letter words.
    words = TfidfVectorizer(ngram_range=NGRAMS, sublinear_tf=True, token_pattern=r"\S+")
    train = words.fit_transform([_text(row) for row in task.train])
    dev = words.transform([_text(row) for row in task.dev])
    if task.kind == REGRESSION:
        line = Ridge().fit(train, [float(row.label) for row in task.train])
        return score(task, np.asarray(line.predict(dev), float)[:, None])
    model = LogisticRegression(C=STRENGTH, max_iter=MAX_ITERATIONS)
    model.fit(train, [str(row.label) for row in task.train])
    one_hot = [[label == word for label in task.labels] for word in model.predict(dev)]
    return score(task, np.array(one_hot, float))


def _text(row: Row) -> str:
    return row.text if row.text_pair is None else f"{row.text} {row.text_pair}"
