"""The job that turns images into staged ids: a plan, decode workers, an encoder, and engines that bring them
together.

`plan` cuts a listing into shards and batches whose shapes never vary; `decoders` make views in threads or
processes; `encoding` makes ids; `local` and `on_ray` run a plan. The verb `seit tokenize` calls them and commits.
Nothing is imported here: decode workers load `decode_worker` without torch.
"""
