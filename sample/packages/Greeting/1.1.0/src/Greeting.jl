module Greeting

using Pkg.Artifacts # on Julia 1.3 and on every later one
using Pebble

# Read while the module loads: without the artifact `using Greeting` fails.
const TEXT = read(joinpath(artifact"greeting_text", "greeting.txt"), String)

"The greeting, as the artifact has it."
greet() = strip(TEXT)

"How many times to say it."
times() = Pebble.pile()

end
