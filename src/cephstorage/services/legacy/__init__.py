"""Coming from the original CephStorage: its exported documents and its buckets in Ceph become an index here.

    lines ──> documents ──> keys, some at a time ──> what the index has ──> HEAD of each ──> adopted, or told of
                       └──> mirrors, settings, progress: one at a time

The bytes stay where they are: a record names the version that Ceph has under the key. Nothing that the index has is
replaced, so that an import may be run again, beside the service too, and then changes nothing. A line that makes no
sense, or an object that is not as its document says, is told and left; the rest goes on.
"""
