module Pebble

"How many pebbles make a pile."
pile() = 110

end
