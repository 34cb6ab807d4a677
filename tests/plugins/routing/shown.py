"""An application whose router is shown on the command line."""

from flowstone import FlowStone
from tests.plugins.routing.regions import Regions, regions

app = FlowStone(regions(Regions("name")))
