// What a model costs: the Redis of one simulated world, made, used and freed, again and again.
#pragma once

void speed_measure(double seconds); // prints a line
