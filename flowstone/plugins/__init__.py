"""One ability each. A plugin imports core and engine, and never another plugin."""
