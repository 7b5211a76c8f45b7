module chirograph.dev/clients/served

go 1.26.0
