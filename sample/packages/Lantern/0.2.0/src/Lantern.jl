module Lantern

using DelimitedFiles, Greeting, Pkg
using Pkg.Artifacts # on Julia 1.3 and on every later one

"The same text that Greeting reads, from the artifact that both name."
shared_text() = read(joinpath(artifact"greeting_text", "greeting.txt"), String)

"The platform that this host's artifact was made for."
platform() = strip(read(joinpath(artifact"wick", "lib", "platform.txt"), String))

"A chapter of the atlas: a lazy artifact, fetched at the first call."
chapter(n) = read(joinpath(artifact"atlas", "atlas", "chapter-$n.txt"), String)

"The light of each night in a table of comma-separated numbers."
nights(io::IO) = DelimitedFiles.readdlm(io, ',')

end
