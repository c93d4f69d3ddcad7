module Pebble

"How many pebbles make a pile."
pile() = 120

end
