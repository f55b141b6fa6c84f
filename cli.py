from archlab.__main__ import main

main()
