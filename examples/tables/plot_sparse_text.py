"""
Text as sparse counts of words
==============================

A bag of words has a column for each word of the vocabulary and few numbers that are not
zero. Networks of cmlp take SciPy's CSR matrices without ever making them dense: a step
costs in proportion to the words that occur. This example classifies synthetic texts by
their topic, measures time and memory, and shows which words
decide.
"""

import textwrap
import time

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Patch
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

from cmlp import AdamW, Network, plot
from cmlp.callbacks import EarlyStopping

plt.style.use(
    ["seaborn-v0_8-colorblind", {"axes.spines.top": False, "axes.spines.right": False}]
)

# %%
# Texts
# -----
# Each text has 40 words: most of them from a vocabulary of 20,000 meaningless words,
# whose frequencies follow Zipf's law, and a few from the ten words of its topic or, to
# make it harder, of another one.

TOPICS = {
    "cooking": "pan oven salt butter recipe flour boil spoon onion garlic",
    "sailing": "mast anchor harbor wind keel rope tide deck sail rudder",
    "astronomy": "orbit comet lens galaxy moon star telescope eclipse dust mars",
    "music": "chord violin rhythm tempo melody piano opera flute choir drum",
    "chess": "rook bishop pawn castle gambit check knight queen tempo opening",
}
rng = np.random.default_rng(0)
syllables = np.array([c + v for c in "bdfgklmnprst" for v in "aeiou"])
fillers = np.array(["".join(word) for word in rng.choice(syllables, size=(20_000, 4))])
frequency = 1 / np.arange(2, len(fillers) + 2)
frequency /= frequency.sum()
words = [np.array(each.split()) for each in TOPICS.values()]


def write_texts(n):
    """Return texts and the indices of their topics."""
    labels = rng.integers(len(TOPICS), size=n)
    texts = []
    for label in labels:
        other = rng.integers(len(TOPICS))
        text = [
            *rng.choice(fillers, size=35, p=frequency),
            *rng.choice(words[label], size=3),
            *rng.choice(words[other], size=2),
        ]
        texts.append(" ".join(text))
    return texts, labels


texts, y = write_texts(4_000)
test_texts, y_test = write_texts(2_000)
print(textwrap.fill(texts[0], 78))

# %%
# From texts to CSR
# -----------------

vectorizer = CountVectorizer()
counts = vectorizer.fit_transform(texts)
tfidf = TfidfTransformer().fit(counts)
X = tfidf.transform(counts).astype(np.float32)
X_test = tfidf.transform(vectorizer.transform(test_texts)).astype(np.float32)
sparse_bytes = X.data.nbytes + X.indices.nbytes + X.indptr.nbytes
print(
    f"{X.shape[0]:,} x {X.shape[1]:,}, {X.nnz / X.shape[0]:.0f} words in a row: "
    f"{sparse_bytes / 1e6:.1f} MB, dense {4 * X.shape[0] * X.shape[1] / 1e6:.0f} MB"
)

# %%
# Training
# --------
# ``fit`` takes the matrix as it is. A network with 15,000 inputs soon memorizes its
# texts; dropout and early stopping on a fifth of them limit that.

net = Network(
    [X.shape[1], 32, 5], activation="relu", loss="cross_entropy", dropout=0.5, seed=0
)
start = time.perf_counter()
history = net.fit(
    X,
    y,
    epochs=20,
    batch_size=32,
    optimizer=AdamW(2e-3, weight_decay=0.5),
    validation_split=0.2,
    metrics="accuracy",
    early_stopping=EarlyStopping("val_accuracy", patience=3),
)
print(
    f"{time.perf_counter() - start:.2f} s, "
    f"test accuracy {net.score(X_test, y_test):.4f}"
)

figure, axes = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
plot.learning_curve(history, "accuracy", ax=axes[0])
plot.confusion_matrix(net, X_test, y_test, labels=list(TOPICS), ax=axes[1])

# %%
# Which words decide?
# -------------------
# An identity matrix, sparse too, is a text of one word in each row. The predictions for
# it are the probabilities of the topics given each word. "tempo", a word of two topics,
# has a lower probability.

names = vectorizer.get_feature_names_out()
probability = net.predict_proba(
    sparse.eye_array(len(names), format="csr", dtype=np.float32)
)
figure, axes = plt.subplots(2, 3, figsize=(9.5, 6.2), layout="constrained", sharex=True)
for topic, (name, ax) in enumerate(zip(TOPICS, axes.flat, strict=False)):
    top = np.argsort(probability[:, topic])[-12:]
    known = np.isin(names[top], words[topic])
    ax.barh(
        names[top], probability[top, topic], color=np.where(known, "#0072B2", "#D55E00")
    )
    ax.set(title=name, xlabel="probability", xlim=(0, 1))
kinds = [
    Patch(color="#0072B2", label="word of the topic"),
    Patch(color="#D55E00", label="other"),
]
axes[1, 2].legend(handles=kinds, loc="center")
axes[1, 2].set_axis_off()
plt.show()

# sphinx_gallery_thumbnail_number = 2
