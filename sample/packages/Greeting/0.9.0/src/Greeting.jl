module Greeting

"The greeting, before it moved into an artifact."
greet() = "Good evening."

end
