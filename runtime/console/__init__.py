"""The console: pages on which a person sees sagas live, and acts on them; `mount` adds them."""
