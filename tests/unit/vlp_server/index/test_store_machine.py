"""Any sequence of writes, deletions, builds and restarts leaves a store that answers like a plain dictionary."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from vector_items import DIGEST, exact_scores, spec_of, statuses
from vlp_server.index.backup import back_up, restore
from vlp_server.index.filters import parse_filter
from vlp_server.index.local import LocalStore
from vlp_server.index.reembedding import Reembedding
from vlp_server.index.settings import IndexSettings, StoreSettings
from vlp_server.index.store import NewItem, SearchEffort, SearchQuery

# A build after every few writes.
TINY = StoreSettings(tail_items=6, tail_share=0.0, dead_share=0.2, build_threads=1)
keys = st.integers(0, 30)


def vector_of(key, version, dimension):
    return np.random.default_rng([key, version, dimension]).standard_normal(dimension).astype(np.float32)


class StoreMachine(RuleBasedStateMachine):
    @initialize(kind=st.sampled_from(["hnsw", "flat"]), metric=st.sampled_from(["l2", "cosine"]))
    def open(self, kind, metric):
        self.folder = Path(tempfile.mkdtemp())
        self.root = self.folder / "store"
        self.metric, self.encoders, self.version = metric, 0, 0
        self.items: dict[int, int] = {}
        self.store = LocalStore(self.root, TINY)
        self.store.create(spec_of(dimension=4, metric=metric, index=IndexSettings(kind=kind, flat_below=12)))

    @property
    def dimension(self):
        return 4 + self.encoders % 2

    @rule(chosen=st.lists(keys, min_size=1, max_size=8, unique=True))
    def write(self, chosen):
        self.version += 1
        items = [
            NewItem(
                id=str(key),
                vector=vector_of(key, self.version, self.dimension),
                metadata={"key": key, "version": self.version},
                picture=b"%d %d" % (key, self.version),
            )
            for key in chosen
        ]
        expected = ["updated" if key in self.items else "created" for key in chosen]
        assert statuses(self.store.upsert("pictures", items)) == expected
        self.items |= dict.fromkeys(chosen, self.version)

    @rule(key=keys)
    def delete(self, key):
        assert self.store.delete_item("pictures", str(key)) == (self.items.pop(key, None) is not None)

    @rule(key=keys, k=st.integers(1, 12), below=st.integers(0, 31), exact=st.booleans())
    def search(self, key, k, below, exact):
        query = vector_of(key, 0, self.dimension)
        condition = parse_filter({"key": {"lt": below}}) if below < 31 else None
        hits = self.store.search(
            "pictures", SearchQuery(vector=query, k=k, filter=condition, effort=SearchEffort(exact=exact))
        )
        live = [key for key in sorted(self.items) if key < below]
        if not live:
            assert hits == []
            return
        vectors = np.stack([vector_of(key, self.items[key], self.dimension) for key in live])
        scores = exact_scores(vectors, query, self.metric)
        assert [hit.id for hit in hits] == [str(live[place]) for place in np.argsort(-scores)[:k]]
        assert all(hit.metadata["version"] == self.items[int(hit.id)] for hit in hits)

    @rule()
    def settle(self):
        assert self.store.settle(60)

    @rule()
    def reopen(self):
        self.store.close()
        self.store = LocalStore(self.root, TINY)

    @rule()
    def go_on_from_a_backup(self):
        number = len(list(self.folder.iterdir()))
        back_up(self.root, self.folder / f"backup-{number}")
        self.store.close()
        self.root = self.folder / f"restored-{number}"
        restore(self.folder / f"backup-{number}", self.root)
        self.store = LocalStore(self.root, TINY)

    @rule()
    def embed_anew(self):
        self.encoders += 1
        digest = DIGEST if self.encoders % 2 == 0 else f"{self.encoders % 2}" * 64
        job = Reembedding(self.store, "pictures", model="clip", encoder_digest=digest, dimension=self.dimension)
        for batch in job.pending(5):
            written = [(item.row, vector_of(*map(int, item.picture.split()), self.dimension)) for item in batch]
            assert job.write(written) == len(batch)
        job.commit()

    @invariant()
    def holds_the_same_items(self):
        assert self.store.get("pictures").items == len(self.items)

    def teardown(self):
        if hasattr(self, "store"):
            self.store.close()
            shutil.rmtree(self.folder)


StoreMachine.TestCase.settings = settings(max_examples=15, stateful_step_count=30, deadline=None)
TestStore = StoreMachine.TestCase
