module Pebble

"How many pebbles make a pile."
pile() = 100

end
