using Lantern, Test
using Pkg.Artifacts

nights = open(Lantern.nights, joinpath(artifact"testdata", "nights.csv"))
@test nights == [1 2 3; 4 5 6]
