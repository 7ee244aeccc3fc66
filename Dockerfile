# The servers of gym-loop, and nothing else.
#
#   docker build -t gym-loop .
#   docker run --rm -p 127.0.0.1:5000:5000 -e GYM_LOOP_TOKEN=secret gym-loop
#
# The port is published on the host's 127.0.0.1 only; inside the container the server listens on
# every address, for which it demands the token.
FROM python:3.12-slim AS build
WORKDIR /source
COPY pyproject.toml constraints.txt README.rst LICENSE ./
COPY gym_loop ./gym_loop
RUN python -m venv /opt/gym-loop \
    && /opt/gym-loop/bin/pip install --no-cache-dir -c constraints.txt ".[bridges]"

FROM python:3.12-slim
COPY --from=build /opt/gym-loop /opt/gym-loop
RUN useradd --create-home --uid 10001 gym
USER 10001
WORKDIR /home/gym
ENV PATH=/opt/gym-loop/bin:$PATH SDL_VIDEODRIVER=dummy PYTHONUNBUFFERED=1
EXPOSE 5000
ENTRYPOINT ["gym-loop"]
CMD ["serve", "--host", "0.0.0.0"]
