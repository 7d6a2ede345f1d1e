module ringpress/bench/go

go 1.27
