// ringline-micro: the costs of single steps. Exit status 1: something on the hot path has allocated.
#include <benchmark/benchmark.h>

#include "allocations.hpp"

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return ringline::bench::hot_paths_that_allocate() > 0 ? 1 : 0;
}
