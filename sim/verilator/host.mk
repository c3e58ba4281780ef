# Programs in which a processor works beside the engine: host.h. EXTRA are more objects, PROGRAM is made of them.
include Makefile
%.host.o: %.cpp
	g++ $(FLAGS) -O1 -c $< -o $@.part
	mv $@.part $@
$(PROGRAM): $(ENGINE) host.host.o $(EXTRA)
	g++ -pthread $(RUNTIME)/*.o $^ -latomic -o $@.part
	mv $@.part $@
