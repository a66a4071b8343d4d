"""High water of a harbour, computed: a source that knows dask-sail's contract and nothing else."""

import os
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

SCHEMA = pa.schema([("hour", pa.int64()), ("height", pa.decimal128(6, 2)), ("pid", pa.int64())])


class Tides:
    def infer_schema(self, options: dict[str, str]) -> pa.Schema:
        return SCHEMA if options.get("pid") == "true" else SCHEMA.remove(2)

    def plan_partitions(self, options: dict[str, str]) -> list[dict[str, Any]]:
        if not options["days"].isdigit():
            raise ValueError(f"option 'days' must be a whole number, got {options['days']!r}")
        return [{"day": day} for day in range(int(options["days"]))]

    def read_partition(
        self, spec: dict[str, Any], options: dict[str, str]
    ) -> Iterator[pa.RecordBatch]:
        hours = range(spec["day"] * 24, spec["day"] * 24 + 24)
        heights = pa.array([f"{hour % 12}.25" for hour in hours]).cast(SCHEMA.field("height").type)
        pids = pa.repeat(pa.scalar(os.getpid(), pa.int64()), len(heights))
        batch = pa.record_batch([pa.array(hours), heights, pids], schema=SCHEMA)
        yield batch.select(self.infer_schema(options).names)
