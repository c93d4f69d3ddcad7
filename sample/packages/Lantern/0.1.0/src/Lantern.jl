module Lantern

using DelimitedFiles, Greeting

"The light of each night in a table of comma-separated numbers."
nights(io::IO) = DelimitedFiles.readdlm(io, ',')

end
