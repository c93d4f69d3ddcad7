module Faraway

"How far away it is, in days of travel."
distance() = 9

end
