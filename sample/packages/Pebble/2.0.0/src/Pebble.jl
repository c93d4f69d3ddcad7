module Pebble

"How many pebbles make a pile."
pile() = 200

end
